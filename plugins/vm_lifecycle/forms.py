"""The dialog for ``vm create`` typed without arguments; its fields have the grammar's names."""

from __future__ import annotations

from bot.domain.card import ChoiceField, Form, FormField, TextField
from bot.domain.message import Message, Size, nwords, words
from plugins.vm_lifecycle import intents
from plugins.vm_lifecycle.settings import CatalogueSize, VmLifecycleSettings

TAGS_HINT = words('For example env=dev owner=ana; a value with blanks in quotes: note="web shop".')


def create(settings: VmLifecycleSettings) -> Form:
    """Pickers for name, image and size, and the options that people often need."""
    images = tuple((name, name) for name in sorted(settings.images))
    sizes = tuple((name, _size(name, size)) for name, size in sorted(settings.sizes.items()))
    hint = words("Lower case letters, digits and hyphens.")
    fields: list[FormField] = [TextField("name", words("Name"), hint=hint)]
    if images:
        fields.append(ChoiceField("image", words("Image"), images, initial=settings.default_image))
    if sizes:
        fields.append(ChoiceField("size", words("Size"), sizes, required=False))
    cpus = words("Default: that of the size, or {cpus}.", cpus=settings.default_cpus)
    memory = words("Default: that of the size, or {size}.", size=Size(settings.default_memory))
    disk = words("Default: that of the size, or {size}.", size=Size(settings.default_disk))
    why = words("Shown to the approvers and in the audit trail.")
    fields += [
        TextField("cpus", words("vCPUs"), required=False, hint=cpus),
        TextField("memory", words("Memory"), required=False, hint=memory),
        TextField("disk", words("Disk"), required=False, hint=disk),
        ChoiceField(
            "network",
            words("Network"),
            source="networks",
            required=False,
            initial=settings.network,
        ),
        ChoiceField("host", words("Host"), source="hosts", required=False),
        TextField("count", words("Number of VMs"), required=False, initial="1"),
        TextField("tags", words("Tags"), required=False, hint=TAGS_HINT),
        TextField(
            "user_data",
            words("User data"),
            required=False,
            long=True,
            hint=intents.USER_DATA_HELP,
        ),
        TextField("reason", words("Reason"), required=False, hint=why),
    ]
    return Form("", words("Create a VM"), words("Plan"), tuple(fields))


def _size(name: str, size: CatalogueSize) -> Message:
    return nwords(
        "{size}: {n} vCPU, {memory}, disk {disk}",
        "{size}: {n} vCPUs, {memory}, disk {disk}",
        n=size.cpus,
        size=name,
        memory=Size(size.memory),
        disk=Size(size.disk),
    )
