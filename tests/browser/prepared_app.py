"""Imported by the process that `killed_app` forks from: the app with everything that its web server prepares before visits."""

from app.server import web

web.prepare()
