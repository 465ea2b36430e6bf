"""Photos of a person before training: quality, reasons against use, selection, resolution buckets."""
