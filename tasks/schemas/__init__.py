"""Schemas of the task API: bodies of requests and responses, with their bounds, for the API and its client.

Times are UTC; ids are opaque; likeness is a distance, smaller is more alike.
"""

# ruff: noqa: F401 -- the names that others call `schemas.…`

from tasks.schemas.access import (
    AuditEntry,
    Invitation,
    InvitationRequest,
    OidcAuthorization,
    OidcRequest,
    OidcSignIn,
    OidcStatus,
    Owner,
    Session,
    SessionRequest,
    SessionWithSecret,
    SignedOut,
)
from tasks.schemas.edits import Before, EditRequest, FaceBefore
from tasks.schemas.guards import AgeQuestion, BlockedPerson, BlockRequest
from tasks.schemas.idphotos import IdPhotoOptions, IdPhotoPreset, IdPhotoPresets, IdPhotoRule, IdPhotoSize
from tasks.schemas.jobs import (
    GenerationOptions,
    GenerationRequest,
    ImagePrompt,
    Job,
    JobCount,
    JobEvent,
    JobFault,
    JobIds,
    JobUpdate,
    Order,
    OrderRequest,
    PictureSize,
    TrainingRequest,
)
from tasks.schemas.keys import (
    Delivery,
    Key,
    KeyRequest,
    KeyWithSecret,
    SignIn,
    Webhook,
    WebhookRequest,
    WebhookWithSecret,
)
from tasks.schemas.models import ModelAddition, ModelKind, ModelPage, ModelRequest, ModelStatus
from tasks.schemas.people import (
    Consent,
    ConsentProof,
    ConsentRequest,
    ConsentText,
    GivenFor,
    Identity,
    Language,
    Person,
    PersonQuestion,
    PersonRequest,
    PersonUpdate,
    PhotoServes,
    Reason,
    Selfie,
    SelfieUpdate,
    SelfieUploadResult,
    Serves,
    Traits,
)
from tasks.schemas.portraits import (
    FaceLikeness,
    Neighbours,
    PictureTerms,
    Portrait,
    PortraitPage,
    PortraitUpdate,
    StatementRequest,
    Style,
    Template,
    Trait,
)
from tasks.schemas.provenance import Provenance
from tasks.schemas.recipes import JobEdit, JobParams, JobResult, Recipe, RecipeStep, RecipeStyle
from tasks.schemas.shared import (
    FINISHED,
    UNDO_SECONDS,
    ErrorDetail,
    EventName,
    FaceBox,
    JobKind,
    Page,
    PhotoOverride,
    Point,
    Problem,
    Role,
    State,
)
from tasks.schemas.styles import (
    DraftRequest,
    OperatorStyle,
    PublishRequest,
    SkippedContent,
    StyleDraft,
    StyleFinding,
    StyleImportResult,
    StyleReport,
    StyleSample,
    StyleStatus,
    StyleTest,
    StyleTestRequest,
    StyleVersion,
    VersionStatistics,
)
from tasks.schemas.system import (
    Ability,
    Erased,
    Erasure,
    ErasureRequest,
    Health,
    JobLogEntry,
    JobTimes,
    Me,
    PruneResult,
    QueueCounts,
    Quotas,
    QuotaUse,
    Statistics,
    StyleStatistics,
    Worker,
)
