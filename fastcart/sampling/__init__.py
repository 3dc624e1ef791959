"""Who is simulated: distributions, grids and designs, from which any rows of patients can be made."""
