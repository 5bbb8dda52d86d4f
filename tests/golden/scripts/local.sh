#!/bin/bash
exec /venv/bin/python -I -m tbss_hpc.worker --run /study/tbss-hpc-runs/golden --allocation tbxxxxx-1-1
