"""A second device without one: tensors that lie in main memory and say that they are on a GPU.

Every operation asks where its tensors are. One of a tensor there and one here ends in an error, as on a GPU, with the
operation's name; what both give is computed all the same. So pipelines run to their end with real numbers, which PyTorch's own
fake tensors do not have: schedulers ask for them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "simulated"
MOVING = {
    torch.ops.aten.copy_.default,
    torch.ops.aten._to_copy.default,
}
"""Operations that take a tensor of one device to another."""


class WrongDeviceError(RuntimeError):
    """An operation met tensors on two devices."""


class DeviceTensor(torch.Tensor):
    """A tensor on the simulated device; its numbers are those of `held`."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "DeviceTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0),
        )
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"DeviceTensor({self.held!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # pyrefly: ignore[bad-override] -- as torch documents it
        return dispatch(func, args, kwargs or {})


def _module() -> SimpleNamespace:
    """What PyTorch asks a device's module, also afterwards, when it computes in half precision elsewhere."""
    return SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        get_amp_supported_dtype=lambda: [torch.float16, torch.bfloat16],
    )


_compiled: Any = torch._C  # what it holds is not declared


class _Guard(_compiled._acc.DeviceGuard):
    """What PyTorch asks before it names an index of the device."""

    def type_(self) -> Any:
        return _compiled._autograd.DeviceType.PrivateUse1


class _Operations(TorchDispatchMode):
    """Every operation goes through `dispatch`, also those that only name the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """What PyTorch does below its operations, done by way of main memory."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            where = kwargs["device"]
            return func(*args, **{**kwargs, "device": "cpu"}).to(where)
        if func is torch.Tensor.new_tensor:
            like, *given = args
            return torch.tensor(*given, **{"dtype": like.dtype, "device": like.device, **kwargs})
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            return args[0][torch.tensor(args[1])]
        if func in (torch.Tensor.tolist, torch.Tensor.numpy):
            return func(_held(args[0]), *args[1:], **kwargs)
        return func(*args, **kwargs)


@contextmanager
def simulated_device() -> Iterator[torch.device]:
    """Within it the device is there."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        # No hooks of a backend beside it: PyTorch would take it for the accelerator of this process.
        torch.utils.rename_privateuse1_backend(NAME)
        torch._register_device_module(NAME, _module())
        _compiled._acc.register_python_privateuseone_device_guard(_Guard())
    overwrites = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a plain parameter cannot become one of these
    try:
        with _Operations(), _Functions():
            yield torch.device(NAME, 0)
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrites)


def dispatch(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation on the numbers, and say of what it gives where it is."""
    tensors = list(_tensors(args, kwargs))
    there = [each for each in tensors if isinstance(each, DeviceTensor)]
    here = [each for each in tensors if not isinstance(each, DeviceTensor) and each.dim() > 0]
    if there and here and func not in MOVING and not _indexes(func):
        raise WrongDeviceError(f"{func} of {_shapes(there)} on the device and {_shapes(here)} on the CPU")
    named = kwargs.get("device")
    on_device = bool(there) if named is None else torch.device(named).type == NAME
    if func is torch.ops.aten.copy_.default:
        on_device = isinstance(args[0], DeviceTensor)
    plain = {**kwargs, "device": torch.device("cpu")} if named is not None and on_device else kwargs
    out = func(*_each(_held, args), **_each(_held, plain))
    if func._schema.is_mutable and not isinstance(out, tuple | list) and out is not None:
        changed = {id(_held(each)): each for each in tensors}
        return changed.get(id(out), DeviceTensor(out) if on_device else out)
    return _each(DeviceTensor, out) if on_device else out


def _held(each: torch.Tensor) -> torch.Tensor:
    return each.held if isinstance(each, DeviceTensor) else each


def _each(change: Callable[[torch.Tensor], torch.Tensor], values: Any) -> Any:
    """What an operation takes or gives with every tensor changed; PyTorch's own walk takes a tenth of the tests' time."""
    if isinstance(values, torch.Tensor):
        return change(values)
    if isinstance(values, list | tuple):
        return type(values)([_each(change, each) for each in values])
    if isinstance(values, dict):
        return {name: _each(change, each) for name, each in values.items()}
    return values


def _tensors(*values: Any) -> Iterator[torch.Tensor]:
    for each in values:
        if isinstance(each, torch.Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(*each)
        elif isinstance(each, dict):
            yield from _tensors(*each.values())


def _indexes(func: Any) -> bool:
    """Indices may lie in main memory."""
    return func._schema.name in ("aten::index", "aten::index_put_", "aten::index_put")


def _shapes(tensors: Sequence[torch.Tensor]) -> str:
    return ", ".join(str(tuple(each.shape)) for each in tensors)
