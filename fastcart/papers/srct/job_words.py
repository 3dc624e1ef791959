"""What the report of the job ``srct`` calls its experiments, and says of each."""

from fastcart.papers.srct.protocol_search import MARGIN

TITLES = {
    "agreement": "Agreement with the specification",
    "amplification": "Amplification",
    "regime_map": "Regime map",
    "heterogeneity": "Heterogeneity",
    "lethality": "Deadlier CRS",
    "structures": "Other structures of the model",
    "niche": "Exploratory arms and niche support",
    "frey": "Adult cohorts, out of sample",
    "prcc": "Why patients differ",
    "protocol_search": "Protocols found by search",
}
WORDS = {
    "agreement": (
        "Expected values of every arm here and in the prototype of the specification, and by how many "
        "standard deviations (between calibrated populations) they differ. Within 3 passes."
    ),
    "amplification": (
        "Effectors that grow more slowly need more cells. At each growth rate the dose is set so that a "
        "single infusion brings 80 % into remission, and IL-6 so that 46 % have severe CRS. Where the "
        "product hardly amplifies, splitting gains much over a smaller single dose."
    ),
    "regime_map": (
        "Gain in event-free survival at 24 months over the single dose of equal toxicity. Grey: –, the rate "
        "of severe CRS of the arm is outside of what single doses reach, or is that of many doses; no dose, "
        "no single dose up to 1e12 cells brings 80 % into remission."
    ),
    "heterogeneity": (
        "The prior without calibration; every spread is multiplied. Low-high-memory is a nearly free "
        "reduction of CRS among like patients, and costs remissions among unlike ones."
    ),
    "lethality": "CRS is made deadlier until up to 40 % die of it under the single infusion.",
    "structures": (
        "Each structure at the same dose, with the growth of effectors and IL-6 set anew so that remission "
        "and severe CRS of a single infusion stay; gains are over the iso-toxic single dose. –: severe CRS "
        "does not rise with the dose, or not that far, so that no such dose exists."
    ),
    "niche": (
        "Arms above the line do better than any single dose of equal toxicity. X7 to X9 support the niche "
        "and infuse no cells; X11 infuses ten times the memory cells; X13 infuses half of the cells."
    ),
    "frey": (
        "Nothing is fitted; doses are scaled by body weight. P: exact binomial test of the observed number "
        "given the rate of the model. Deaths with sepsis in the HDS cohort are not in the model."
    ),
    "protocol_search": (
        "A swarm searches families of protocols: calendars of four infusions, rules that follow burden and "
        "IL-6, niche support, and a CAR whose activity is switched at visits. None may be more toxic than "
        f"the single infusion of the whole product, or lose more than {100 * MARGIN:g} points of event-free "
        "survival. "
        "Gains over the iso-toxic single infusion with 95 % bootstrap intervals, in patients that the search "
        "has not seen; at heterogeneity 1 also in other structures of the model, each set anew."
    ),
    "prcc": (
        "Partial rank correlations of outcomes with parameters and baseline, all inputs independent; relapse "
        "and B-cell recovery among those in remission. fR is the share of CD19- cells that there are: where "
        "it amounts to less than one cell there are none, so it tells more than the share drawn, which the "
        "specification seems to use."
    ),
}
