"""Operations on pixels that know nothing of a person: colour, masks, filters, resizing, tiling, layout of edits."""
