"""Requests to diffusion models: options, parameters, edits, passes, OpenPose skeletons."""
