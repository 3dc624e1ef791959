"""A specification of a scan with comments, to begin with."""

TEMPLATE = """\
# A scan of virtual patients: fastcart scan FILE --out FOLDER
# Entries behind '# ' are further ones; what is left out has its usual value.

model = "li_lei"          # 'fastcart models' lists names; or a file: mine.py, mine.py:NAME, mine.xml (SBML)
outputs = ["pfs", "nadir", "final_C"]  # columns that are written; without it all endpoints
# chunk = 20_000          # patients solved at once
# patients = "patients.csv"  # a table, one row each, instead of [sample]
# keep = ["arm"]          # columns of that table to write beside the outputs

[sample]
method = "latin_hypercube"  # or random, sobol; grid takes no n and no seed
n = 1000
seed = 1

[sample.columns]          # states (cells at the start), parameters, or columns that [[doses]] name
k_TE = {log_normal = [3.57, 0.1]}  # median, sd of the logarithm
C = {log_uniform = [1e6, 1e7]}     # or uniform, normal, triangular; for grid values, linspace, geomspace
# second_TE = {uniform = [1e6, 1e7]}

# [[doses]]               # added to what is there
# time = 30
# state = "TE"
# amount = "second_TE"    # a number, or a column

# [[events]]              # makes the columns event_small (time) and count_small
# name = "small"
# of = "C"
# threshold = 1e5
# direction = "down"      # or up, both

# [model_options]         # of the model, see 'fastcart models li_lei'

[solve]                   # as the flags of 'fastcart scan'
t_end = 200
rtol = 1e-6
# peaks = ["I6"]          # largest values and their times, to name in outputs as peak_I6 and t_peak_I6
# auc = ["I6"]            # areas under courses: auc_I6
"""
