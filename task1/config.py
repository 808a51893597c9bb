"""The settings of Common Test I. Every right-hand side may be replaced by a value of your own."""

from pathlib import Path

import lensbench

RECIPE = lensbench.RECIPES["contract"]

# Training
BATCH_SIZE = RECIPE.batch_size  # of models whose row below names none
LEARNING_RATE = RECIPE.learning_rate
WEIGHT_DECAY = RECIPE.weight_decay
NUM_EPOCHS = RECIPE.epochs
IMG_SIZE = RECIPE.image_size
PRETRAINED = True  # False: start from random weights
SEED = 42

# How much of dataset/val becomes validation; the rest is the test set
VAL_FRACTION = 0.5

# Models, as (model_desc, model_identifier) or (model_desc, model_identifier, batch size)
MODELS_TO_RUN = lensbench.CONTRACT_MODELS

# Directories, relative to this one
BASE_DIR = Path(__file__).parent
DATASET_DIR = "dataset"
SPLIT_DIR = "dataset_split"
WEIGHTS_DIR = "model_weights_task1_comparison"
RESULTS_DIR = "model_results_task1_comparison"
RESULTS_CSV = "model_comparison_task1_results_final.csv"
