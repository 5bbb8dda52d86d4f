#!/bin/bash

#SBATCH -J tbxxxxx-1-1
#SBATCH -e /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.err
#SBATCH -o /study/tbss-hpc-runs/golden/allocations/tbxxxxx-1-1-%J.out
#SBATCH -p normal
#SBATCH -A neuro-lab
#SBATCH -n 1
#SBATCH --cpus-per-task=8
#SBATCH --mem=16G
#SBATCH -t 06:45:00
#SBATCH --no-requeue
#SBATCH --export=ALL

exec /venv/bin/python -I -m tbss_hpc.worker --run /study/tbss-hpc-runs/golden --allocation tbxxxxx-1-1
