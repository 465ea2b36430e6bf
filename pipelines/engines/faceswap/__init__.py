"""Face swappers: draw a person's face over another one, with that one's pose, expression and light."""
