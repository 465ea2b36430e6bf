"""What the gallery and the large view of a portrait share: the list in the address, cards, actions, edits."""
