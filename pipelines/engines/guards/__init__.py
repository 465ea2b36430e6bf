"""What may not pass, neither in nor out."""
