"""StyleCrafter in ComfyUI: nodes that run the command `stylecrafter`, which lives in an environment of its own."""

from .sampling import StyleCrafterPromptList, StyleCrafterSample, StyleCrafterVideoToVideo
from .sources import StyleCrafterModel, StyleCrafterSavedStyle, StyleCrafterStyle

NODE_CLASS_MAPPINGS = {
    "StyleCrafterModel": StyleCrafterModel,
    "StyleCrafterStyle": StyleCrafterStyle,
    "StyleCrafterSavedStyle": StyleCrafterSavedStyle,
    "StyleCrafterSample": StyleCrafterSample,
    "StyleCrafterPromptList": StyleCrafterPromptList,
    "StyleCrafterVideoToVideo": StyleCrafterVideoToVideo,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "StyleCrafterModel": "StyleCrafter Model",
    "StyleCrafterStyle": "StyleCrafter Style Pictures",
    "StyleCrafterSavedStyle": "StyleCrafter Saved Style",
    "StyleCrafterSample": "StyleCrafter Sample",
    "StyleCrafterPromptList": "StyleCrafter Prompt List",
    "StyleCrafterVideoToVideo": "StyleCrafter Video to Video",
}

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
