"""Guards: pictures, words, and the question whether a parent or guardian must agree."""
