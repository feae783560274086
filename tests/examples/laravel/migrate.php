<?php

/** Runs the example's migration, as `php artisan migrate` does. */

use Illuminate\Database\Capsule\Manager;
use Illuminate\Support\Facades\Facade;

error_reporting(E_ALL & ~E_DEPRECATED);
require_once 'Illuminate/autoload.php';

$manager = new Manager();
touch(getenv('SCHOOL_DATABASE'));
$manager->addConnection(['driver' => 'sqlite', 'database' => getenv('SCHOOL_DATABASE')]);
$manager->getContainer()->instance('db', $manager->getDatabaseManager());
$manager->getContainer()->bind('db.schema', fn ($container) => $container['db']->connection()->getSchemaBuilder());
Facade::setFacadeApplication($manager->getContainer());
foreach (glob(getenv('EXAMPLE') . '/database/migrations/*.php') as $file) {
    (require $file)->up();
}
