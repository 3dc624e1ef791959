"""A specification of a fit with comments, to begin with."""

from fastcart.fit.simulated import BINS

TEMPLATE = f"""\
# A population fitted to a table of measurements: fastcart fit FILE --out FOLDER
# Entries behind '# ' are further ones; what is left out has the value that is shown. Needed are a model, its
# data, a table [[observation]] and 'random'.

title = "Fit of a population"
model = "cart_kinetics"   # 'fastcart models' lists names; or a file: mine.py, mine.py:NAME, mine.xml (SBML)
data = "patients.csv"     # a row for each measurement or dose: ID, TIME, DV, DVID; AMT, CMT of doses; CENS
virtual_patients = 1000   # that are drawn from the fit; 0 for none
observables = {{1 = "cells"}}  # what is measured, for each number in DVID
# columns = {{TIME = "day", DV = "copies"}}  # where the table has other names
# ignore = ["comment"]    # columns that are not looked at; all others are covariates
# lag = {{depot = "tlag"}}  # for a state that is dosed the parameter that is its lag
# bioavailability = {{depot = "F"}}

[[observation]]
dvid = "cells"
prediction = "cells"      # a state, an observable, or a formula of them
error = "lognormal"       # or additive, proportional, combined1, combined2, measured
# s = 0.2                 # a value of an error parameter is kept, else it is estimated

[population]
random = ["foldx", "Tmax", "Cmax", "alpha", "FB", "beta"]  # that differ between patients
fixed = []                # that are the same in all, and estimated
omega = "diagonal"        # or full, or blocks: [["Cmax", "alpha"]]
# covariates = {{Cmax = ["WT"]}}  # columns of the table
# scales = {{FB = "logit"}} # log where nothing is said; or normal, logit of the range in the model
method = "saem"
chains = "auto"           # or a number, for each patient
# iterations = [300, 150] # that explore and average; without it, until nothing drifts
accuracy = 0.03           # Monte Carlo error of -2 ln L at which no more is drawn
draws = 65536             # at most, for each patient
seed = 1

# [start]                 # without it the model's defaults, and a point a factor of three away
# Cmax = 2e4
# omega_Cmax = 0.5

[checks]
replicates = 1000         # simulated tables behind the predictive check
bins = {BINS}                 # of time, for each kind of measurement

# [solve]                 # how models are solved: t_end, rtol, atol, method, max_steps, breaks
# rtol = 1e-6

# [designs]               # which visits to come tell most of a quantity
# quantity = "log(cells)" # of each patient; or of a parameter, "log(beta)"
# at = 365
# limit = 50              # of quantification
# always = [2, 7, 14, 28]
# candidates = [60, 90, 180, 270]
# further = 2             # of the candidates
"""
