"""Tour of the source report: its claims (`toy`, `digits`, `stocks`), trainings (`runs`), and verdicts (`results`)."""
