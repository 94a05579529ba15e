"""A solver for load balancing by live migration, over numpy arrays; see README.md.

It knows hosts and VMs as indexes of arrays, and nothing of the bot or of the rest of the plugin.

    from plugins.balance.solver import Problem, SearchLimits, search
    solution = solve(problem, SearchLimits(max_moves=10))
"""

from plugins.balance.solver.model import (
    NO_GROUP,
    BadProblem,
    Cause,
    Move,
    Problem,
    Score,
    SearchLimits,
    Solution,
    WhyNot,
)
from plugins.balance.solver.score import score_of
from plugins.balance.solver.search import solve

__all__ = [
    "NO_GROUP",
    "BadProblem",
    "Cause",
    "Move",
    "Problem",
    "Score",
    "SearchLimits",
    "Solution",
    "WhyNot",
    "score_of",
    "solve",
]
