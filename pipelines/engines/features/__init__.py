"""Feature extractors: pictures and texts as vectors, for metrics of sets of pictures."""
