"""Writes what engines lack, one JSON list a line: `python -m app.terminal.engine_status FOLDER/NAME …`.

Run by `portrait doctor`, so that a library that crashes on import takes only this process with it: what was not answered
by then is asked anew, without the engine that crashed.
"""

import json
import sys

from pipelines.engines import status
from pipelines.model_store.store import ModelStore
from tasks.settings import load

if __name__ == "__main__":
    settings = load()
    for engine in sys.argv[1:]:
        folder, name = engine.split("/")
        needs = status(folder, name, settings, ModelStore(settings.models))
        sys.stdout.write(json.dumps(needs) + "\n")
        sys.stdout.flush()
