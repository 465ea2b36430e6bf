"""The page of photos: cards, the summary of the set, questions about people, checks that run by themselves."""
