"""What a request must leave as it was: where the tensors of a base are, in which dtype, and what offloads its networks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pipelines.diffusion.base.lease import LoadedBase


@dataclass(frozen=True, slots=True)
class ModuleState:
    """Of one module without the modules in it."""

    name: str
    offloading: str
    """The class of accelerate's hook, with the device that it runs the module on; empty without one."""
    pre_hooks: int
    """PyTorch's own before the forward pass. Those after it are not counted: transformers adds some for good."""
    devices: frozenset[str]
    dtypes: frozenset[torch.dtype]


def capture(loaded: LoadedBase) -> dict[torch.nn.Module, ModuleState]:
    """The state of every module of a base."""
    return {
        module: _module_state(name, module)
        for component, network in loaded.pipeline.components.items()
        if isinstance(network, torch.nn.Module)
        for name, module in network.named_modules(prefix=component)
    }


def lost_hook(before: Mapping[torch.nn.Module, ModuleState], after: Mapping[torch.nn.Module, ModuleState]) -> str:
    """What became of the first hook that is not as it was; empty where all are."""
    for module, was in before.items():
        now = after.get(module)
        if now is None:
            return f"{was.name} is no part of the base any more"
        if was.offloading != now.offloading:
            return f"{was.name} had {was.offloading or 'no hook'} and has {now.offloading or 'none'}"
        if was.pre_hooks != now.pre_hooks:
            return f"{was.name} had {was.pre_hooks} hooks before its forward pass and has {now.pre_hooks}"
    return ""


def moved_tensor(before: Mapping[torch.nn.Module, ModuleState], after: Mapping[torch.nn.Module, ModuleState]) -> str:
    """The first module whose tensors are on another device than before, or in another dtype; empty without one."""
    for module, was in before.items():
        now = after.get(module, was)
        if was.devices != now.devices:
            return f"{was.name} was on {_join(was.devices)} and is on {_join(now.devices)}"
        if was.dtypes != now.dtypes:
            return f"{was.name} was in {_join(was.dtypes)} and is in {_join(now.dtypes)}"
    return ""


def misplaced_tensor(loaded: LoadedBase) -> str:
    """A tensor of the base, or of what is held beside it, that is not on its device although nothing is offloaded."""
    if loaded.profile not in ("full", "sliced"):
        return ""
    beside = {f"{name} ": each for name, each in loaded.networks.items() if isinstance(each, torch.nn.Module)}
    parts = {name: each for name, each in loaded.pipeline.components.items() if isinstance(each, torch.nn.Module)}
    for component, network in (parts | beside).items():
        for name, tensor in _tensors(network):
            if tensor.device.type != loaded.device.type:
                return f"{component.strip()}.{name} is on {tensor.device}"
    return ""


def _tensors(network: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _module_state(name: str, module: torch.nn.Module) -> ModuleState:
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    return ModuleState(
        name,
        _describe_hook(getattr(module, "_hf_hook", None)),
        len(module._forward_pre_hooks),
        frozenset(each.device.type for each in own),
        frozenset(each.dtype for each in own),
    )


def _describe_hook(hook: Any) -> str:
    """A hook of accelerate by its class and device; a sequence of them by all of its parts."""
    if hook is None:
        return ""
    parts = [_describe_hook(each) for each in getattr(hook, "hooks", ())]
    where = getattr(hook, "execution_device", None)
    own = type(hook).__name__ if where is None else f"{type(hook).__name__} for {torch.device(where).type}"
    return " with ".join([own, *parts])


def _join(values: frozenset[Any]) -> str:
    return ", ".join(sorted(str(each).removeprefix("torch.") for each in values)) or "none"
