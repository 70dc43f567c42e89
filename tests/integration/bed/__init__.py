"""The bed: real servers and the real programs, each in folders, ports and namespaces of its own, for the tests and the demo.

Everything is started by this process and dies with it, also when it is killed: children carry a parent-death signal, and what
forks by itself (Samba) lives in a PID namespace whose first process does.
"""
