"""Writes what engines lack, one JSON list a line: `python -m app.terminal.engine_status FOLDER/NAME …`.

Run by `portrait doctor`, so that a library that crashes on import takes only this process with it: what was not answered
by then is asked anew, without the engine that crashed. With `--warm-up` it compiles what engines compile once instead.
"""

import json
import sys

from app.terminal.model_downloads import mark_compiled
from pipelines.engines import status, warm_up
from pipelines.model_store.store import ModelStore
from tasks.settings import load

if __name__ == "__main__":
    settings = load()
    if sys.argv[1:] == ["--warm-up"]:
        warm_up(settings)
        mark_compiled()
        sys.exit()
    for engine in sys.argv[1:]:
        folder, name = engine.split("/")
        needs = status(folder, name, settings, ModelStore(settings.models))
        sys.stdout.write(json.dumps(needs) + "\n")
        sys.stdout.flush()
