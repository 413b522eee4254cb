"""Reading, converting and checking of weights, in any known format."""
from mmdino.weights.config import describe_network, preprocessor_cfg
from mmdino.weights.convert import convert_file
from mmdino.weights.formats import FORMATS, convert
from mmdino.weights.io import (load_checkpoint, save_checkpoint,
                               use_safe_loading)
from mmdino.weights.keys import CheckpointError
from mmdino.weights.network import (Weights, check_fit, load_pretrained,
                                    load_strictly, open_weights,
                                    require_resumable, resolve_network,
                                    sort_out)
from mmdino.weights.sources import (PublishedModel, downloads_allowed,
                                    find_checkpoint, list_models)
