"""A face put into another picture: warped, behind its hair, blended into its light."""
