"""Diffusion bases: their families, loading, LoRA, and the parts that trainers and painters share."""

import logging

# Importing the libraries' pipelines asks for image processors that nothing here needs, and transformers warns of each.
logging.getLogger("transformers.utils.import_utils").setLevel(logging.ERROR)
