"""What the zoo is made of: real data, small networks, objectives, and the recipes that join them."""
