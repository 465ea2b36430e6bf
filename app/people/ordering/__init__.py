"""What is chosen on the page of styles, and how it is ordered."""
