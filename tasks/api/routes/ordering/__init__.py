"""Routes that order work: trainings, portraits, orders of several styles, edits, and the options of what is drawn."""
