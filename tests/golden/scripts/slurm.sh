#!/bin/bash

#SBATCH -J tbxxxxx-1-1
#SBATCH -e /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.err
#SBATCH -o /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.out
#SBATCH -n 1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH -t 04:00:00
#SBATCH --no-requeue
#SBATCH --export=ALL

exec /venv/bin/python -I -m tbss_hpc.worker --run /study/tbss-hpc-runs/golden --allocation tbxxxxx-1-1
