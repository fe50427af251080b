"""V_do when D(Z) is unknown: the posterior predictive of a normal-inverse-gamma model (section 3.5).

    sigma^2 ~ InvGamma(a, b),  mu | sigma^2 ~ N(m, sigma^2 / k),  score | mu, sigma^2 ~ N(mu, sigma^2)

    prior:      m = mean, k = 1, a = 2, b = variance    (one pseudo-observation; E[sigma^2] = variance)
    n scores x: k' = k + n,  m' = (k m + sum x) / k',  a' = a + n / 2
                b' = b + sum (x - mean x)^2 / 2 + k n (mean x - m)^2 / (2 k')
    predictive: Student t with 2 a' degrees of freedom, location m', scale^2 = b' (k' + 1) / (a' k')

The scores x of a query are those observed for the same operation on other edges: the paper asks for a
Bayesian approximation and does not say of what.
"""

from __future__ import annotations

import numpy as np

from znas.interventions.base import Belief, Floats, Intervention

PRIOR_STRENGTH = 1.0  # k
PRIOR_SHAPE = 2.0  # a: the smallest whole number with a finite expected variance


def posterior_predictive(mean: float, variance: float, scores: Floats) -> tuple[float, float, float]:
    """(degrees of freedom, location, scale) of the Student t above."""
    n = len(scores)
    k, a, b = PRIOR_STRENGTH, PRIOR_SHAPE, variance * (PRIOR_SHAPE - 1)
    average = float(scores.mean()) if n else mean
    k_n, a_n = k + n, a + n / 2
    m_n = (k * mean + n * average) / k_n
    b_n = b + float(((scores - average) ** 2).sum()) / 2 + k * n * (average - mean) ** 2 / (2 * k_n)
    return 2 * a_n, m_n, float(np.sqrt(b_n * (k_n + 1) / (a_n * k_n)))


class BayesianIntervention(Intervention):
    """Draws are wider than Gaussian where little was observed, and move towards what was.

    sigma^2 is of the query, one for all its environments: a multivariate Student t where these are
    correlated.
    """

    name = "bayesian"

    def draw(self, belief: Belief, evidence: list[list[Floats]], rng: np.random.Generator) -> Floats:
        freedom, location, scale = (np.empty(belief.mean.shape) for _ in range(3))
        for (k, i), mean in np.ndenumerate(belief.mean):
            freedom[k, i], location[k, i], scale[k, i] = posterior_predictive(
                float(mean), float(belief.variance[k, i]), evidence[k][i]
            )
        noise = belief.correlated(rng.standard_normal(belief.mean.shape))
        draws: Floats = location + scale * noise / np.sqrt(rng.chisquare(freedom[:1]) / freedom)
        return draws
