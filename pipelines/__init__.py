"""Flows and engines: from selfies to a training set, an identity, portraits."""
