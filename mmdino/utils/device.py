"""Choice of the device that a network runs on."""
import os

import mmengine.device.utils
import torch


def pick_device(name: str | None) -> torch.device:
    """Return the device of a name, by default the GPU if there is one.

    Args:
        name: 'cpu', 'cuda', 'cuda:1', ..., or None for the default.

    Raises:
        ValueError: If this machine has no such device.
    """
    if name is None:
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f'There is no device {name!r}: give cpu, cuda or a '
                         'certain GPU such as cuda:1.') from None
    count = torch.cuda.device_count()
    if device.type == 'cuda' and (device.index or 0) >= count:
        raise ValueError(f'There is no device {name!r}: torch sees {count} '
                         'GPUs here. Leave --device out, or give cpu.')
    return device


def use_device(name: str | None, launcher: str = 'none') -> None:
    """Let MMEngine run on a device, if a name is given.

    Args:
        name: As for :func:`pick_device`; with None MMEngine chooses.
        launcher: What started the processes, see ``--launcher``; 'none' for
            a single process.

    Raises:
        ValueError: If there is no such device, or if a launcher has started
            several processes, which have one device each.
    """
    if name is None:
        return
    if launcher != 'none':
        raise ValueError(
            f'--device {name} is for one process, and --launcher {launcher} '
            'starts several: choose their GPUs by CUDA_VISIBLE_DEVICES.')
    device = pick_device(name)
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    mmengine.device.utils.DEVICE = device.type


def use_device_in_children(name: str | None) -> None:
    """Let child processes see only one device.

    Sets ``CUDA_VISIBLE_DEVICES``.

    Args:
        name: As for :func:`pick_device`; None lets them see all devices.

    Raises:
        ValueError: If there is no such device.
    """
    if name is None:
        return
    device = pick_device(name)
    visible = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    visible = visible.split(',') if visible else [
        str(i) for i in range(torch.cuda.device_count())
    ]
    is_gpu = device.type == 'cuda'
    os.environ['CUDA_VISIBLE_DEVICES'] = (
        visible[device.index or 0] if is_gpu else '')
