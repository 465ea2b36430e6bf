"""Control images for ControlNets, computed from a photo: outlines, depth, pose, content, colours."""
