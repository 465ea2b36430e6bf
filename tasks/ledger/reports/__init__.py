"""Reports for operators, over the rows of several tables."""
