"""Understanding of what a message does to its parts: clauses, amounts, wishes that are given up."""
