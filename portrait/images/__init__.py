"""Operations on images and masks that know nothing of faces' meaning: color, masks, tiling."""
