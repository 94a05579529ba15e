"""The dialog for ``vm create`` typed without arguments; its fields are named as the grammar's parameters."""

from __future__ import annotations

from bot.domain.card import ChoiceField, Form, FormField, TextField
from bot.domain.words import bytes_text, plural
from plugins.vm_lifecycle import cards
from plugins.vm_lifecycle.settings import Size, VmLifecycleSettings


def create(settings: VmLifecycleSettings) -> Form:
    """Name, image and size by pickers, the rest as far as people often need it."""
    images = tuple((name, name) for name in sorted(settings.images))
    sizes = tuple((name, _size(name, size)) for name, size in sorted(settings.sizes.items()))
    fields: list[FormField] = [TextField("name", "Name", hint="Small letters, digits and hyphens.")]
    fields += (
        [ChoiceField("image", "Image", images, initial=settings.default_image)] if images else []
    )
    fields += [ChoiceField("size", "Size", sizes, required=False)] if sizes else []
    fields += [
        TextField(
            "cpus",
            "vCPUs",
            required=False,
            hint=f"Otherwise the size's, or {settings.default_cpus}.",
        ),
        TextField(
            "memory",
            "Memory",
            required=False,
            hint=f"Otherwise {bytes_text(settings.default_memory)}.",
        ),
        TextField(
            "disk", "Disk", required=False, hint=f"Otherwise {bytes_text(settings.default_disk)}."
        ),
        TextField("network", "Network", required=False, initial=settings.network),
        ChoiceField("host", "Host", source="hosts", required=False),
        TextField("count", "How many", required=False, initial="1"),
        TextField("tags", "Tag", required=False, hint="For example env=dev."),
        TextField("user_data", "User data", required=False, long=True, hint=cards.USER_DATA_HELP),
        TextField("reason", "Why?", required=False, hint=cards.WHY_HINT),
    ]
    return Form("", "New VM", "Plan it", tuple(fields))


def _size(name: str, size: Size) -> str:
    return f"{name}: {plural(size.cpus, 'vCPU')}, {bytes_text(size.memory)}, disk {bytes_text(size.disk)}"
