"""Pages of people: photos, styles, portraits, privacy."""
