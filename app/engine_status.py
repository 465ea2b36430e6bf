"""What one engine still needs, in a process of its own: `python -m app.engine_status FOLDER NAME` prints a JSON list.

Run by `portrait doctor`, so that a library that crashes on import takes only this process with it.
"""

import json
import sys

from pipelines.engines import status
from pipelines.models import Models
from tasks.settings import load

if __name__ == "__main__":
    settings = load()
    json.dump(status(sys.argv[1], sys.argv[2], settings, Models(settings.models)), sys.stdout)
