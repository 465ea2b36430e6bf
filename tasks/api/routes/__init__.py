"""The routes of the task API, one file a resource."""
