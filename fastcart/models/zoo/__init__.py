"""Published models of CAR-T cells, of tumor-infiltrating lymphocytes and of a CD8 response, a file each.

Each is written from the equations of its paper: states, units, parameters, source, what it was fitted to.
Where a paper was read by way of its entry in the BioModels database or a library of models, the file says so.
"""
