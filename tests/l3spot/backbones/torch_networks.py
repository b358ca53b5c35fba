"""The networks of torchvision with its names, for inference."""

import torch
from torch import nn


def alexnet():
    return Sequential(
        nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
        ),
        nn.AdaptiveAvgPool2d(6),
        nn.Sequential(
            nn.Dropout(),
            nn.Linear(256 * 36, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, 1000),
        ),
    )


CONFIGURATIONS = {
    "vgg16": "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M",
    "vgg19": "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M",
}


def vgg(name):
    layers, channels = [], 3
    for given in CONFIGURATIONS[name].split():
        if given == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, int(given), 3, padding=1), nn.ReLU()]
            channels = int(given)
    return Sequential(
        nn.Sequential(*layers),
        nn.AdaptiveAvgPool2d(7),
        nn.Sequential(
            nn.Linear(512 * 49, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        ),
    )


class Sequential(nn.Module):
    def __init__(self, features, avgpool, classifier):
        super().__init__()
        self.features, self.avgpool = features, avgpool
        self.classifier = classifier

    def logits(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class BasicConv2d(nn.Module):
    def __init__(self, inputs, outputs, **how):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, bias=False, **how)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x):
        return nn.functional.relu(self.bn(self.conv(x)))


class Inception(nn.Module):
    def __init__(self, inputs, a, b0, b1, c0, c1, d):
        super().__init__()
        self.branch1 = BasicConv2d(inputs, a, kernel_size=1)
        self.branch2 = nn.Sequential(
            BasicConv2d(inputs, b0, kernel_size=1),
            BasicConv2d(b0, b1, kernel_size=3, padding=1),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(inputs, c0, kernel_size=1),
            BasicConv2d(c0, c1, kernel_size=3, padding=1),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, 1, 1, ceil_mode=True),
            BasicConv2d(inputs, d, kernel_size=1),
        )

    def forward(self, x):
        parts = self.branch1, self.branch2, self.branch3, self.branch4
        return torch.cat([part(x) for part in parts], 1)


class Aux(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.conv = BasicConv2d(inputs, 128, kernel_size=1)
        self.fc1, self.fc2 = nn.Linear(2048, 1024), nn.Linear(1024, 1000)


class GoogLeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = BasicConv2d(3, 64, kernel_size=7, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv2 = BasicConv2d(64, 64, kernel_size=1)
        self.conv3 = BasicConv2d(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception3a = Inception(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = Inception(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.inception4a = Inception(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = Inception(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = Inception(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = Inception(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = Inception(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.inception5a = Inception(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = Inception(832, 384, 192, 384, 48, 128, 128)
        self.aux1, self.aux2 = Aux(512), Aux(528)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, 1000)

    def features(self, x):
        for name, part in self.named_children():
            if name not in ("aux1", "aux2", "avgpool", "fc"):
                x = part(x)
        return x

    def logits(self, x):
        return self.fc(torch.flatten(self.avgpool(self.features(x)), 1))


def transform_input(x):
    """Normalises as torchvision's pretrained GoogLeNet."""
    zero = x[:, [0]] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
    one = x[:, [1]] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
    two = x[:, [2]] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
    return torch.cat((zero, one, two), 1)


@torch.no_grad()
def make(name, whole=True, seed=0):
    """Returns a network with random parameters; `whole` adds dense layers."""
    with torch.device("meta"):
        network = {"alexnet": alexnet, "googlenet": GoogLeNet}.get(
            name, lambda: vgg(name)
        )()
    if not whole:
        network.classifier = None
    network = network.to_empty(device="cpu").eval()
    generator = torch.Generator().manual_seed(seed)
    for key, value in network.state_dict().items():
        if not value.is_floating_point():
            value.zero_()
        elif value.ndim > 1:
            spread = (6 / value[0].numel()) ** 0.5
            value.uniform_(-spread, spread, generator=generator)
        elif key.endswith(("running_var", "bn.weight")):
            value.uniform_(0.5, 1.5, generator=generator)
        else:
            value.uniform_(-0.1, 0.1, generator=generator)
    return network
