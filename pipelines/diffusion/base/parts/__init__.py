"""What families of bases are made of: losses, latents, language models as text encoders, names in files."""
