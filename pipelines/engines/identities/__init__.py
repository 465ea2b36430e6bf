"""Identity adapters of diffusion models: LoRA, IP-Adapter FaceID, InstantID, PhotoMaker."""
