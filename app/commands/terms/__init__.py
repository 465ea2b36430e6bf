"""What an installation and a portrait are made of, and on what terms."""
