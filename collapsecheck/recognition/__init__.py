"""Which published architecture weights belong to, from nothing but their names and shapes.

`index.py` holds what torchvision's and timm's models look like, `matching.py` compares by name and shape,
`order.py` by the order of the shapes, `models/drawing` makes the indices anew.
"""
