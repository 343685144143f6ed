"""The settings of a run: edit the values here, then `python train.py`. Each is also a flag: `init_lr` is `--init-lr`.

A flag wins over the value here. A line that you delete has its shipped value. Nothing but `train.py` reads this file.
"""

preset = "none"  # none | speedrun; settings that belong together; they win over config.py, and a flag wins over them

# Data
# digits | cifar10 | cifar100 | tiny_imagenet25 | tiny_imagenet200 | indian_birds | shapes | tfds:NAME | folder:PATH, which may
# end in a CSV file; or some of the classes: digits:0-4, shapes:10
dataset = "digits"
data_dir = "data"  # where data sets are downloaded to and decoded images are cached
image_size = 0  # height and width in pixels; 0: the data set's own
colour = "rgb"  # rgb | grey; rgb: three channels; grey: images and network have one
start_size = 0  # images of the first epoch have this height and width and grow from there (0: full size always)
growth_epochs = 0.0  # over so many epochs images grow from start_size to full size, by 4 pixels at a time
class_seed = 201  # seed of the draw of tiny_imagenet25's classes
val_fraction = 0.1  # share of train (stratified, seeded) that serves as val, or as test, where a set has none
# folder:PATH: pictures of one group, such as an object's or a patient's, stay in one split; a regular expression whose first
# group names it in the file's path, or a column of the CSV
group_by = ""
images_per_class = 0  # train on so few of each class; 0: on all; val and test stay whole
batch_size = 0  # images per step, the CIFAR-10 study takes 128; 0: 32, or fewer where an epoch would have less than 8 steps
# none | standard | randaugment | cutout | gridmask | saturation; standard: shift, and mirror where classes survive it; the others
# add a policy of keras-cv
augment = "standard"
max_shift = 4  # images are shifted by up to so many pixels; 2 serves short trainings
padding = "zero"  # zero | reflect; what stands beyond the border of a shifted image
# random | alternating; random: half of an epoch's images are mirrored; alternating: each one is in every other epoch
mirror = "random"
mixup_alpha = 0.0  # Beta(alpha, alpha) for mixup (Zhang et al. 2018); 0 turns it off, 0.2 to 0.4 is usual
cutmix_alpha = 0.0  # Beta(alpha, alpha) for CutMix (Yun et al. 2019); 1 is usual; with mixup on, each batch draws one of the two

# Model
model = "xresnet20"  # a network of the table that python dispatcher.py prints
n = 0  # residual blocks in each stage, the n of 6n + 2; 0: the model's own
# default | batch | batch-scratch | instance | batch-instance | layer | group | evonorm-s0 | none; batch-scratch is batch's
# equation written out; evonorm-s0 brings its own activation; default: the model's own
norm = "default"
norm_groups = 0  # norms group and evonorm-s0: channels are normalised in so many groups; 0: the model's own
sync_norm = False  # processes that train together (torchrun) share the statistics of norms over a batch
activation = "default"  # default | relu | mish | silu | gelu; between convolutions; default: the model's own
# default | conv | conv-norm | imagenet | deep; before the stages: a 3x3 convolution; with norm and activation; ImageNet's 7x7 or
# ResNet-D's three 3x3, each with pooling; default: the model's own
stem = "default"
attention = "default"  # default | none | se | cbam; at the end of every residual branch; default: the model's own
# default | projection | zero | pool | none; where a block changes the shape: 1x1 convolution (B of the paper), zeros (A) or
# ResNet-D's pooling; none: no skip at all; default: the model's own
shortcut = "default"
# chance that an image skips the last block's branch, earlier ones less; 0.5 in the paper; None: the model's own
stochastic_depth = None

# Transfer
# start from the best weights of a run, from a .safetensors or .keras file of export.py or keras-hub:resnet_50_imagenet; new head
# where classes differ
init_from = ""
freeze = "none"  # backbone (all but the classifier) or stages:1-2 (the stem goes with stage 1) stay as they are
backbone_rate = 1.0  # the learning rate of all but the classifier, as a share of the classifier's

# Training
epochs = 20  # passes over train; the CIFAR-10 study's networks take 180
resume = "auto"  # auto | never; auto: go on where the run of this name stopped; never: refuse an existing name
start_epoch = None  # go back to the end of this many finished epochs (its checkpoint must still be there)
seed = 0  # seed of the split, the initial weights, the order of images and every augmentation
# sgd | adam | adamw | muon | rmsprop | lion; sgd is what the papers use; muon makes its steps orthogonal and learns in fewer
# epochs; adamw, muon and lion decouple weight decay
optimizer = "sgd"
# the learning rate that the schedule starts from or peaks at; 0: chosen by optimizer, batch size and number of steps
init_lr = 0.0
find_lr = False  # instead of training, let the rate rise for some steps, draw the loss and suggest an init_lr
check = False  # instead of training, check data, network and rate in about a minute; exit code 1 if a check fails
momentum = 0.9  # sgd, muon and rmsprop: the share of the last update that goes on
nesterov = False  # sgd and muon look ahead along their momentum
# none | balanced; balanced: an image counts N / (classes * images of its class); val and test count all alike
class_weights = "none"
monitor = "val_accuracy"  # val_accuracy | val_loss | val_f1_macro; what the best epoch is best by
weight_decay = 0.0002  # L2 on kernels: adds weight_decay * kernel to the gradient, as in torch; Keras' L2(x) is 2x here
# resnet | cosine | linear | onecycle | plateau | constant; course of the rate; resnet: a tenth for an epoch, then 1, 1/10 from
# half, 1/100 from three quarters of the epochs (He et al. 2015)
schedule = "cosine"
# over so many epochs cosine and linear rise to init_lr from zero, onecycle (or over three tenths, if longer) from 1/25 of it;
# where a run has no more epochs than that, over a fifth of them
warmup_epochs = 1.0
gradient_clip = 0.0  # gradients whose global norm is above it are scaled down to it; 0: never
accumulate = 1  # the weights move after every so many batches, by the mean of their gradients
label_smoothing = 0.1  # share of the label spread over all classes (Szegedy et al. 2016); 0 turns it off
ema_decay = 0.99  # val and test use a moving average of the weights with this decay per step (less at first); 0: off
# auto | float32 | mixed_bfloat16; auto: mixed_bfloat16 where that is faster, which needs a device that computes in bfloat16, else
# float32; a run keeps the one that it began with
precision = "auto"
# auto | eager | compile | graph; how a step runs on torch: operation by operation, with compiled blocks, or as one CUDA graph;
# auto: graph on a GPU, else eager
execution = "auto"
deterministic = True  # two runs of one command end bit-identical; on a GPU this takes slower operations
early_stopping_patience = 0  # stop after so many epochs without a better monitor; 0: never

# Callbacks
run = ""  # the run's name; empty: <model>-<dataset>-<seed>
output_dir = "output"  # output_dir/<run>: settings, history, plot, metrics
weights_dir = "weights"  # weights_dir/<run>: checkpoints
checkpoint_minutes = 10.0  # a checkpoint at least so often, besides one after every epoch; 0: only those
max_minutes = 0.0  # stop after so long with everything written (exit code 124); the same command goes on; 0: no limit
track_f1 = False  # also record macro F1 of train (as augmented) and val after every epoch
# also record each kernel's gradient norm, norm and update ratio after every epoch, in flow.json: see python visualize.py
track_gradients = False
film = False  # also record after an epoch what python visualize.py film shows, in at most 5 % of the time of training
keep_checkpoints = 2  # the newest so many are kept, and the best on val
tensorboard = False  # also write event files for TensorBoard to output_dir/<run>/tensorboard
