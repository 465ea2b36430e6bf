"""The face world: cartoon portraits, and a Stable Diffusion small enough to draw them on two cores.

Published weights cannot stand in a test; a toy that was trained from nothing can. Here people are twenty numbers, pictures
are 48 pixels wide, and a whole diffusion base of 10 MB, in the layout of Stable Diffusion 1.5, really draws what its prompt
says. So a test can ask of a trainer what matters: does it learn the person, and does everybody else stay who they are?
It proves the path from selfies to a drawn person; it says nothing about the beauty of portraits.

`world`     draws a person in a scene, from signed distances
`captions`  captions of pictures
`words`     the tokenizer in CLIP's layout
`networks`  the networks in the layouts of Stable Diffusion, as small as they get
`train`     makes `base/` and `meters.safetensors`: `make faceworld`, about an hour on two cores
`train_flow` makes `flow_base/`, a FLUX.2 that draws from words and reference pictures: about another hour
`meters`    who is in a picture, and where: two small networks, and a face finder on top
"""
