"""The words and the arithmetic: numpy and OpenCV; no engines, no disk, no network."""
